"""The experiment of `amulet-local eval`: methods x preferences x questions, stored as made."""
