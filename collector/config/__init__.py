"""Settings: loaded once, checked, frozen; every mistake is one line with key, value and remedy.

Order, later wins: config/config.yaml, .env, the environment (`COLLECTOR_` prefix, `__` between levels), the
command line. Nothing else in the product reads the environment.
"""

from collector.config.analytics import (
    AnalyticsSettings,
    DerivedSettings,
    PortfolioSettings,
    RankSettings,
    SignalSettings,
    TrendSettings,
)
from collector.config.loading import ROOT, Explained, Layer, environment_name, explain, load_settings
from collector.config.sections import (
    ApiSettings,
    CadenceSettings,
    CheckSettings,
    DatabaseSettings,
    DatasetSettings,
    ExtraIndicator,
    HttpSettings,
    IndicatorSettings,
    LimitSettings,
    LogSettings,
    Settings,
    SourceSettings,
    UniverseSettings,
)
from collector.config.values import cron_turns, format_duration, parse_duration

__all__ = [
    "ROOT",
    "AnalyticsSettings",
    "ApiSettings",
    "CadenceSettings",
    "CheckSettings",
    "DatabaseSettings",
    "DatasetSettings",
    "DerivedSettings",
    "Explained",
    "ExtraIndicator",
    "HttpSettings",
    "IndicatorSettings",
    "Layer",
    "LimitSettings",
    "LogSettings",
    "PortfolioSettings",
    "RankSettings",
    "Settings",
    "SignalSettings",
    "SourceSettings",
    "TrendSettings",
    "UniverseSettings",
    "cron_turns",
    "environment_name",
    "explain",
    "format_duration",
    "load_settings",
    "parse_duration",
]
