"""The operator: from WhisperFineTune objects to trainers, and from trainers to statuses."""

#: As in pyproject.toml and in the chart.
VERSION = "0.1.0"
