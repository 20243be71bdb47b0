"""The numbers of a report as tables for a program: CSV and Parquet, one row a thing measured."""
