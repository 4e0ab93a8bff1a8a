"""The commands: each reads its options, asks the modules beside this folder, and prints."""
