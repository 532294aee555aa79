"""The Whisper model: load it for one language and task, give it clips, save it as a plain Hugging Face folder."""
