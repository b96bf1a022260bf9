"""What a worker needs of other frames to paint one of a film."""
