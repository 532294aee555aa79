"""What is said in a clip: texts, languages, scripts."""
