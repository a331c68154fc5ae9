"""The common numbers of `analytics.trends` in SQL, equal to those of Python: change, volatility and drawdowns.

A span of N days is the N returns up to the newest daily candle of an instrument, so it starts at the close N days
earlier. NULL stands where Python says None: no start, or fewer than 90 % of its returns (volatility) or closes
(drawdowns). Days are 24 hours, so that the session's time zone does not matter.
"""

PRICE_TRENDS = """
    SELECT n.instrument, w.span, n.open_time + interval '24 hours' AS as_of,
           s.bars, w.days - s.bars AS missing, s.first_price, n.close AS last_price,
           n.close / s.first_price - 1 AS change,
           CASE WHEN s.returns >= ceil(0.9 * w.days) THEN s.deviation * sqrt(365) END AS volatility,
           CASE WHEN s.closes >= ceil(0.9 * (w.days + 1)) THEN n.close / s.highest - 1 END AS drawdown,
           CASE WHEN s.closes >= ceil(0.9 * (w.days + 1)) THEN s.deepest END AS max_drawdown
    FROM (
        SELECT i.instrument_id, i.instrument, c.open_time, c.close
        FROM instruments i CROSS JOIN LATERAL (
            SELECT open_time, close::float8 AS close FROM candles
            WHERE instrument_id = i.instrument_id AND interval = '1d' ORDER BY open_time DESC LIMIT 1
        ) c
    ) n
    CROSS JOIN (VALUES ('7d', 7), ('30d', 30), ('90d', 90)) AS w (span, days)
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS closes,
               (count(*) FILTER (WHERE p.open_time > p.start_time))::integer AS bars,
               count(p.change) AS returns,
               max(p.close) FILTER (WHERE p.open_time = p.start_time) AS first_price,
               max(p.close) AS highest,
               stddev_samp(p.change) AS deviation,
               min(p.close / p.highest - 1) AS deepest
        FROM (
            SELECT c.open_time, c.close::float8 AS close, n.open_time - w.days * interval '24 hours' AS start_time,
                   max(c.close::float8) OVER o AS highest,
                   CASE WHEN lag(c.open_time) OVER o = c.open_time - interval '24 hours'
                        THEN ln(c.close::float8) - ln(lag(c.close::float8) OVER o) END AS change
            FROM candles c
            WHERE c.instrument_id = n.instrument_id AND c.interval = '1d'
              AND c.open_time BETWEEN n.open_time - w.days * interval '24 hours' AND n.open_time
            WINDOW o AS (ORDER BY c.open_time)
        ) p
    ) s
"""
