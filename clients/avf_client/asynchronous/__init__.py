"""The client for asyncio code."""
