"""From the planes of a decoded frame to what a player shows, and back."""
