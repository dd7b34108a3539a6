"""`python -m avf_client` is the command `avf`, for where the scripts folder is not on the PATH."""

from avf_client.commands.cli import main

main()
