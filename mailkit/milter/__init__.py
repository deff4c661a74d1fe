"""Filters that speak the milter protocol: OpenDKIM, rspamd, SpamAssassin's, ClamAV's, your own."""
