"""The extensions of SMTP, one module each; small ones that belong together share one."""
