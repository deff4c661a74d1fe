"""What happens to a message after SMTP has taken it: local delivery, or a function of yours."""
