"""How long things take: learned from what ended, by kind of task and by instance."""
