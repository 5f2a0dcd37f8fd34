POSTERN := postern.c postern_config.c postern_why.c postern_why_restrict.c postern_trace.c logline.c \
	postern_status.c status_processes.c status_print.c proc_files.c \
	postern_check.c check_conf.c check_delivery.c check_maps.c check_system.c check_disk.c check_certs.c check_ports.c check_dns.c check_dkim.c check_filter.c
$(call program,postern,$(POSTERN) admin/maps/postmap_build.c $(RESOLVE_WHY) $(RESTRICT) deliver/policy/milter_wire.c imapd/caps.c,authres smtp map mail conf dns ipc io os log base)
$(call unittest,test_logline,test_logline.c logline.c,log base test)
$(call fuzzer,fuzz_logline,fuzz_logline.c logline.c,log base)
