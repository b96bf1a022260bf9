"""From pixels to the bytes of a picture file."""
