"""From the bytes of a picture file to its values, in full depth."""
