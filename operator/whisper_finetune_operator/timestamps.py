"""Times as the Kubernetes API writes them: RFC 3339 in UTC, to whole seconds or, in a MicroTime, to microseconds."""

from datetime import UTC, datetime


def parse_time(text: str) -> datetime:
    """Return the moment that a timestamp of the API names; ValueError where it names none."""
    return datetime.fromisoformat(text).astimezone(UTC)


def render_time(moment: datetime) -> str:
    """Return a moment as the API writes it, cut to whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def render_micro_time(moment: datetime) -> str:
    """Return a moment as Leases and Events have it, with its microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
