"""The store's rules and its SQL, which every database of ours shares; what is one engine's own lies beside it."""
