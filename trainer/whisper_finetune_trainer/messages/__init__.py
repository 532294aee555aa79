"""What people and other programs are told: errors, quotations and the log, without secrets."""
