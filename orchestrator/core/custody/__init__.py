"""What the ledger says, who may write it, and how it is kept short: the books every coordinator has alike."""
