"""How fast training is: the engine beside the same networks written plainly, and growing beside not growing."""
