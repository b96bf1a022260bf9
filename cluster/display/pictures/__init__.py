"""Small pictures on terminals that show them: kitty's protocol, iTerm2's, and sixel."""
