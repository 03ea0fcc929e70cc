"""The words that `domain.events` puts together: events by the streams that they are written to."""
