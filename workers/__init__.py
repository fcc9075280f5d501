"""Write a service, run it as an agent of the orchestrator."""
