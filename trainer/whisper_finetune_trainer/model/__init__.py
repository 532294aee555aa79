"""The Whisper model: loaded for one language and task, given clips, saved as a plain Hugging Face folder."""
