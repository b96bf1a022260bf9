"""Films: sequences of frames whose strokes stick to what they are painted on."""
