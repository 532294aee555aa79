"""Fine-tune one Whisper model on one data set, and measure the word error rate before and after."""
