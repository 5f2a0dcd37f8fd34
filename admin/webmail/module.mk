$(call script,postern-webmail,postern-webmail.sh)
