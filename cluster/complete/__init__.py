"""What outputs of earlier versions lack."""
