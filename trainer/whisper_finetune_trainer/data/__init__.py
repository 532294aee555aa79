"""The data of a run: its clips, from any source, with their texts, sounds and features."""
