"""Random defences of other papers, as parts of any network here: a file each."""
