"""What people ask: what is going on, why a task waits, and when it will start."""
