"""The models as clients see them, and what is normal for them."""
