namespace veloxquant {}
