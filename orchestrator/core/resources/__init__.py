"""What can be given: single devices, elastic shares, and limits that belong to the cluster."""
