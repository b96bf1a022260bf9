"""Where the motion of a film comes from, beside what is found here."""
