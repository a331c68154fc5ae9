"""How we talk to providers: one door per provider, paced, retried, bounded in time and size; errors are ours."""

from collector.http.translate import redact
from collector.http.venue import Counters, Timeouts, Venue, VenueSession

__all__ = ["Counters", "Timeouts", "Venue", "VenueSession", "redact"]
