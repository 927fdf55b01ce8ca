"""Each provider registers itself with the contract; what is its own follows."""
