"""What a run is made of: root file systems ("images") and guests, cached by content."""
