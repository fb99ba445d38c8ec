"""The networks: a module for each family, with its layouts (tables of names) and its entries; and the layers that they share."""
