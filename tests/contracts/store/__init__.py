"""What every store must do, a file for each matter; `store_contract.py` puts them together."""
