"""The dashboard in a real browser, over a receiver and imitated providers in processes of their own."""
