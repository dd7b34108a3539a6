"""Who is calling: API keys, and the tokens that browsers hold in their place."""
