"""What people and other programs are told: errors, quotations and the log. None of it has secrets."""
