"""The gate behind the entry hooks of other people's engines. None of them is imported here."""
