"""One definition, two stores: views, point-in-time join, online stores, materialize."""
