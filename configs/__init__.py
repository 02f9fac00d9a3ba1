"""Example configurations; installed as ``streamcolor.configs``. A key is the long name of an option of the command."""
