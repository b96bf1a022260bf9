"""From the finished frames of films to videos."""
