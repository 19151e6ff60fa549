"""Images of subjects on disk, checked, and as a network takes them."""
