"""Pictures of answers, drawn from their closed forms."""
